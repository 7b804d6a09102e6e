"""What `kinora/glyph` is taught: chosen emoji, the groups they are in, colours for them."""

from __future__ import annotations

HEARTS = (
    "red heart", "pink heart", "orange heart", "yellow heart", "green heart", "blue heart",
    "light blue heart", "purple heart", "brown heart", "black heart", "grey heart", "white heart",
    "broken heart", "sparkling heart", "heart with arrow", "heart with ribbon", "two hearts",
)  # fmt: skip
FACES = (
    "grinning face", "grinning face with big eyes", "beaming face with smiling eyes",
    "grinning face with sweat", "face with tears of joy", "slightly smiling face",
    "upside-down face", "winking face", "smiling face with smiling eyes",
    "smiling face with halo", "smiling face with hearts", "smiling face with heart-eyes",
    "star-struck", "face blowing a kiss", "face with tongue", "zany face", "money-mouth face",
    "shushing face", "thinking face", "neutral face", "smirking face", "grimacing face",
    "sleeping face", "face with medical mask", "nauseated face", "hot face", "cold face",
    "exploding head", "cowboy hat face", "partying face", "smiling face with sunglasses",
    "nerd face", "worried face", "face with open mouth", "flushed face", "pleading face",
    "crying face", "loudly crying face", "face screaming in fear", "yawning face", "enraged face",
    "angry face", "smiling face with horns", "skull", "clown face", "ghost", "alien", "robot",
    "jack-o-lantern", "pile of poo",
)  # fmt: skip
ANIMALS = (
    "monkey face", "dog face", "wolf", "fox", "raccoon", "cat face", "lion", "tiger face",
    "horse face", "unicorn", "cow face", "pig face", "mouse face", "hamster", "rabbit face",
    "bear", "polar bear", "koala", "panda", "chicken", "baby chick", "penguin", "owl", "frog",
    "turtle", "snake", "spouting whale", "dolphin", "tropical fish", "shark", "octopus", "snail",
    "butterfly", "honeybee", "lady beetle", "elephant", "duck", "parrot", "flamingo", "crab",
    "spider", "dragon face", "T-Rex", "camel", "goat", "crocodile", "hedgehog", "bat", "eagle",
    "swan",
)  # fmt: skip
PLANTS = (
    "cherry blossom", "rose", "hibiscus", "sunflower", "tulip", "seedling", "evergreen tree",
    "deciduous tree", "palm tree", "cactus", "four leaf clover", "maple leaf", "mushroom",
)  # fmt: skip
FOOD = (
    "grapes", "watermelon", "tangerine", "lemon", "banana", "pineapple", "mango", "red apple",
    "green apple", "pear", "peach", "cherries", "strawberry", "blueberries", "kiwi fruit",
    "tomato", "coconut", "avocado", "eggplant", "potato", "carrot", "ear of corn", "hot pepper",
    "bell pepper", "cucumber", "broccoli", "garlic", "onion", "bread", "croissant", "pretzel",
    "pancakes", "cheese wedge", "hamburger", "french fries", "pizza", "hot dog", "taco",
    "popcorn", "doughnut", "cookie", "birthday cake", "cupcake", "lollipop", "ice cream",
    "cooking", "sushi", "shrimp", "egg", "honey pot", "chocolate bar", "soft ice cream",
    "hot beverage", "beer mug", "wine glass",
)  # fmt: skip
SKY = (
    "full moon", "crescent moon", "full moon face", "sun", "sun with face", "star",
    "glowing star", "ringed planet", "cloud", "cloud with rain", "rainbow", "umbrella",
    "high voltage", "snowflake", "snowman", "fire", "droplet", "sparkles", "volcano",
    "water wave",
)  # fmt: skip
THINGS = (
    "Christmas tree", "balloon", "wrapped gift", "soccer ball", "basketball", "tennis",
    "bullseye", "crystal ball", "teddy bear", "crown", "gem stone", "top hat", "guitar", "drum",
    "light bulb", "candle", "bomb", "key", "bell", "rocket", "automobile", "house", "sailboat",
    "hourglass done", "alarm clock", "camera", "books", "trophy", "anchor", "t-shirt", "airplane",
    "bicycle", "locomotive", "bus", "tractor", "helicopter", "flying saucer", "castle", "tent",
    "television", "laptop", "mobile phone", "open book", "pencil", "scissors", "hammer", "magnet",
    "telescope", "glasses", "watch", "ring", "running shoe", "backpack", "money bag", "envelope",
    "violin", "trumpet", "vertical traffic light",
)  # fmt: skip
CHOSEN = HEARTS + FACES + ANIMALS + PLANTS + FOOD + SKY + THINGS

COLOURS = {
    "red": (222, 44, 40), "orange": (245, 130, 20), "yellow": (250, 205, 40),
    "green": (70, 160, 60), "blue": (40, 110, 215), "purple": (140, 60, 185),
    "pink": (245, 110, 170), "black": (45, 45, 48), "white": (238, 240, 242),
    "brown": (128, 80, 48), "grey": (140, 145, 150),
}  # fmt: skip

# Words for any drawing of a kind.
GROUPS = {
    "face": FACES, "emotion": FACES[:42], "animal": ANIMALS, "plant": PLANTS,
    "food": FOOD, "fruit": FOOD[:15], "vegetable": FOOD[18:28], "weather": SKY[:18],
    "thing": THINGS, "object": THINGS, "flower": PLANTS[:5],
    "vehicle": ("automobile", "sailboat", "rocket", "airplane", "bicycle", "bus", "tractor"),
}  # fmt: skip

# Drawings that a colour word may repaint, beside all plants and food: name → the noun it is put
# before, where that is not the plain name.
REPAINTED = {name: "" for name in PLANTS + FOOD + (
    "star", "cloud", "umbrella", "droplet", "fire", "balloon", "crown", "guitar", "key", "bell",
    "house", "sailboat", "rocket", "bicycle", "airplane", "bus", "tent", "castle", "ring",
    "glasses", "backpack", "running shoe", "pencil", "drum", "candle", "anchor", "teddy bear",
    "top hat", "trophy", "snowman", "ghost", "alien", "robot", "wolf", "fox", "lion", "unicorn",
    "hamster", "bear", "chicken", "penguin", "owl", "frog", "turtle", "snake", "dolphin", "shark",
    "octopus", "snail", "butterfly", "honeybee", "elephant", "duck", "parrot", "flamingo", "crab",
    "spider", "bat", "eagle", "swan", "goat", "camel", "automobile", "t-shirt", "wrapped gift",
    "lady beetle", "hourglass done",
) if name not in {"green apple", "tangerine"}} | {
    "red apple": "apple", "dog face": "dog", "cat face": "cat", "mouse face": "mouse",
    "horse face": "horse", "cow face": "cow", "pig face": "pig", "rabbit face": "rabbit",
    "monkey face": "monkey", "tiger face": "tiger", "dragon face": "dragon", "baby chick": "chick",
    "tropical fish": "fish", "spouting whale": "whale", "slightly smiling face": "smiling face",
    "deciduous tree": "tree", "evergreen tree": "pine tree", "cherry blossom": "blossom",
    "birthday cake": "cake", "soft ice cream": "ice cream cone", "alarm clock": "clock",
}  # fmt: skip
