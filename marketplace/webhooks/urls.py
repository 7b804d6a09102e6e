"""Where receivers find the public keys."""

from django.urls import path

from marketplace.webhooks.keylist import keylist

urlpatterns = [path("jwks.json", keylist)]
