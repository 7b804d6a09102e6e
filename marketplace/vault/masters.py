"""Where the master keys are: in the environment of the supplier, and of nobody else.

KINORA_LABS_KEY holds one, or two while it is turned: the first locks, both open. Processes that
only lock know KINORA_LABS_PUBLIC_KEY. The embedded stack makes a key in its data folder.
"""

from django.conf import settings

from marketplace import environment
from marketplace.vault.envelope import MasterKey, PublicKey, VaultError

SECRET, PUBLIC = "KINORA_LABS_KEY", "KINORA_LABS_PUBLIC_KEY"


def masters() -> list[MasterKey]:
    """The keys that open. Raises VaultError."""
    return [MasterKey(text) for text in texts()]


def texts() -> list[str]:
    found = environment.optional_secret(SECRET).replace(",", " ").split()
    if not found and settings.SECRETS is not None:
        found = [environment.kept_secret(settings.SECRETS / SECRET.lower())]
    if not 1 <= len(found) <= 2:
        raise VaultError(f"{SECRET} must hold one master key, or two while it is turned.")
    return found


def locking() -> PublicKey:
    """The key that locks. Raises VaultError."""
    if text := environment.text(PUBLIC):
        return PublicKey.read(text)
    if settings.SECRETS is None:
        raise VaultError(f"Set {PUBLIC}; `manage.py lab_secret public` tells it.")
    return masters()[0].public
