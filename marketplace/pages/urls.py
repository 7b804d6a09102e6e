"""Addresses of the pages."""

from django.urls import include, path

from marketplace.pages import (
    audit,
    balance,
    explore,
    home,
    keys,
    play,
    runs,
    trial,
    usage,
    webhooks,
)

urlpatterns = [
    path("", home.home, name="home"),
    path("try", trial.make, name="trial"),
    path("try/<str:run_id>", trial.live, name="trial_live"),
    path("account/", include("allauth.account.urls")),
    path("settings", home.preferences, name="settings"),
    path("models", explore.index, name="models"),
    path("models/<slug:lab>/<slug:slug>", explore.model, name="model"),
    path("models/<slug:lab>/<slug:slug>/price", play.price, name="price"),
    path("models/<slug:lab>/<slug:slug>/play", play.play, name="play"),
    path("runs", runs.index, name="runs"),
    path("runs/<str:run_id>", runs.run, name="run"),
    path("runs/<str:run_id>/live", runs.live, name="run_live"),
    path("runs/<str:run_id>/details", runs.details, name="run_details"),
    path("runs/<str:run_id>/cancel", runs.cancel, name="run_cancel"),
    path("usage", usage.index, name="usage"),
    path("usage.csv", usage.download, name="usage_csv"),
    path("usage/focus.csv", usage.focus, name="usage_focus"),
    path("balance", balance.index, name="balance"),
    path("balance/statement", balance.download, name="statement"),
    path("console/audit", audit.index, name="audit"),
    path("webhooks", webhooks.index, name="webhooks"),
    path("webhooks/secret", webhooks.own_secret, name="webhook_own_secret"),
    path("webhooks/replay", webhooks.send_all_again, name="webhooks_replay"),
    path("webhooks/deliveries/<str:delivery_id>", webhooks.delivery, name="delivery"),
    path(
        "webhooks/deliveries/<str:delivery_id>/replay", webhooks.send_again, name="delivery_replay"
    ),
    path("webhooks/<str:endpoint_id>", webhooks.endpoint, name="webhook"),
    path("webhooks/<str:endpoint_id>/test", webhooks.test, name="webhook_test"),
    path("webhooks/<str:endpoint_id>/rotate", webhooks.rotate, name="webhook_rotate"),
    path("webhooks/<str:endpoint_id>/switch", webhooks.switch, name="webhook_switch"),
    path("webhooks/<str:endpoint_id>/remove", webhooks.remove, name="webhook_remove"),
    path("keys", keys.index, name="keys"),
    path("keys/<str:key_id>/revoke", keys.revoke, name="key_revoke"),
]
