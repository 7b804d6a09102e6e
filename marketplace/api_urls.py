"""Addresses of the management API; those of runs are in `dialects/native.py`."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView

from marketplace.access.api import Budgets, OneBudget, Reopened
from marketplace.accounts.api import Keys, Nowhere, OneKey
from marketplace.catalog.api import LabKeys, OneLabKey, Self
from marketplace.ledger.api import BalanceView, Entries
from marketplace.metering.api import Models, OneModel, Prices, Quotes
from marketplace.payouts import api as payouts
from marketplace.runs import api as runs
from marketplace.vault.api import LabSecrets, OneLabSecret
from marketplace.webhooks import api as webhooks

urlpatterns = [
    path("v1/openapi.json", SpectacularJSONAPIView.as_view()),
    path("v1/keys", Keys.as_view()),
    path("v1/keys/<str:key>", OneKey.as_view()),
    path("v1/budgets", Budgets.as_view()),
    path("v1/budgets/<str:budget>", OneBudget.as_view()),
    path("v1/budgets/<str:budget>/reopen", Reopened.as_view()),
    path("v1/models", Models.as_view()),
    path("v1/models/<path:model>", OneModel.as_view()),
    path("v1/prices", Prices.as_view()),
    path("v1/quotes", Quotes.as_view()),
    path("v1/usage", runs.Usage.as_view()),
    path("v1/usage/focus", runs.Focus.as_view()),
    path("v1/usage/statement", runs.Statement.as_view()),
    path("v1/balance", BalanceView.as_view()),
    path("v1/entries", Entries.as_view()),
    path("v1/runs/<str:run>/refunds", runs.Refunds.as_view()),
    path("v1/outputs/<str:output>", runs.Outputs.as_view()),
    path("v1/webhooks", webhooks.Endpoints.as_view()),
    path("v1/webhooks/secret", webhooks.Secret.as_view()),
    path("v1/webhooks/replay", webhooks.ReplayRange.as_view()),
    path("v1/webhooks/deliveries", webhooks.Deliveries.as_view()),
    path("v1/webhooks/deliveries/<str:delivery>", webhooks.OneDelivery.as_view()),
    path("v1/webhooks/deliveries/<str:delivery>/replay", webhooks.Replay.as_view()),
    path("v1/webhooks/<str:endpoint>", webhooks.OneEndpoint.as_view()),
    path("v1/webhooks/<str:endpoint>/rotate", webhooks.Rotation.as_view()),
    path("v1/webhooks/<str:endpoint>/test", webhooks.Test.as_view()),
    path("v1/lab", Self.as_view()),
    path("v1/lab/keys", LabKeys.as_view()),
    path("v1/lab/keys/<str:lab_key>", OneLabKey.as_view()),
    path("v1/lab/releases", runs.LabReleases.as_view()),
    path("v1/lab/demand", runs.LabDemand.as_view()),
    path("v1/lab/invoices", runs.LabInvoices.as_view()),
    path("v1/lab/agreements", payouts.Agreements.as_view()),
    path("v1/lab/proposals", payouts.Proposals.as_view()),
    path("v1/lab/proposals/<str:proposal>", payouts.OneProposal.as_view()),
    path("v1/lab/statements", payouts.Statements.as_view()),
    path("v1/lab/statements/<str:statement>", payouts.OneStatement.as_view()),
    path("v1/lab/statements/<str:statement>/lines", payouts.StatementLines.as_view()),
    path("v1/lab/statements/<str:statement>/export", payouts.StatementExport.as_view()),
    path("v1/lab/secrets", LabSecrets.as_view()),
    path("v1/lab/secrets/<str:field>/<int:version>", OneLabSecret.as_view()),
    re_path(r"^[\s\S]*\Z", Nowhere.as_view()),  # whatever a path may hold, line ends too
]
