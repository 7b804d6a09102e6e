"""Every supplier by name. A new lab is a file in `labs/` and a line here."""

from partners.adapter import Adapter
from partners.contract import Description
from partners.house import House
from partners.labs.bfl import BlackForest
from partners.labs.elevenlabs import ElevenLabs
from partners.labs.gemini import Gemini
from partners.labs.ideogram import Ideogram
from partners.labs.kling import Kling
from partners.labs.luma import Luma
from partners.labs.minimax import MiniMax
from partners.labs.openai import OpenAI
from partners.labs.rehearsal import Rehearsal
from partners.labs.runway import Runway
from partners.labs.seedance import Seedance
from partners.labs.stability import Stability
from partners.labs.veo import Veo

ADAPTERS: dict[str, type[Adapter]] = {
    "house": House,
    "rehearsal": Rehearsal,
    "bfl": BlackForest,
    "elevenlabs": ElevenLabs,
    "gemini": Gemini,
    "ideogram": Ideogram,
    "kling": Kling,
    "luma": Luma,
    "minimax": MiniMax,
    "openai": OpenAI,
    "runway": Runway,
    "seedance": Seedance,
    "stability": Stability,
    "veo": Veo,
}


def open_adapter(name: str, *, url: str = "", secret: str = "") -> Adapter:
    """The adapter called `name`; close it when done. Raises KeyError for an unknown name."""
    return ADAPTERS[name](url, secret)


def describe(name: str, target: str) -> Description:
    """What the supplier `name` says of its model `target`. Raises KeyError."""
    for description in ADAPTERS[name].describe():
        if description.target == target:
            return description
    raise KeyError(f"{name}/{target}")
