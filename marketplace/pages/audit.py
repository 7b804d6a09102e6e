"""The console's audit: what should be 0, when it was last asked, and the system's own accounts."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from marketplace.ledger.check import audit
from marketplace.ledger.fold import lag
from marketplace.ledger.models import Account, Audit
from marketplace.pages.staff import staff_page

KEPT = 10


@staff_page
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """The last audit in full, those before it in a line each. POST makes one now."""
    if request.method == "POST":
        audit()
        return redirect("audit")
    audits = list(Audit.objects.order_by("-id")[:KEPT])
    last = audits[0] if audits else None
    findings = sorted(last.findings, key=lambda f: -f["count"]) if last else []
    context = {
        "last": last,
        "findings": findings,
        "broken": sum(f["count"] > 0 for f in findings),
        "earlier": audits[1:],
        "lag": lag(),
        "accounts": Account.objects.filter(team=None).order_by("name", "currency"),
    }
    return render(request, "console/audit.html", context)
