"""The GPU workers' door, under /fleet/v1/."""

from django.urls import path

from marketplace.runs import workers

urlpatterns = [
    path("claim", workers.claim_view),
    path("renew", workers.renew_view),
    path("report", workers.report_view),
    path("complete", workers.complete_view),
]
