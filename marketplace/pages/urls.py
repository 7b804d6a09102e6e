"""Addresses of the pages."""

from django.urls import include, path

from marketplace.pages import audit, balance, explore, home, keys, play, runs, trial, usage

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
    path("keys", keys.index, name="keys"),
    path("keys/<str:key_id>/revoke", keys.revoke, name="key_revoke"),
]
