"""Everything that can make a picture for us, behind one contract. No Django, no money."""
