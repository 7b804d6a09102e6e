"""Django's registration of this room."""

from django.apps import AppConfig


class VaultConfig(AppConfig):
    name = "marketplace.vault"
    label = "vault"
