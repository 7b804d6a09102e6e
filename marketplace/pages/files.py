"""Files that a person brings to the playground: announced here, sent to the store by the page."""

from urllib.parse import urlsplit

from asgiref.sync import async_to_sync
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from marketplace.accounts.models import Team
from marketplace.media import shelf, upload
from marketplace.media.lifetime import lifetime
from marketplace.media.upload import Upload
from marketplace.pages.team import team_page


@require_POST
@team_page
def announce(request: HttpRequest, team: Team) -> JsonResponse:
    """Where to PUT the bytes, on this very site, and the address that the file will have."""
    made: Upload = async_to_sync(upload.initiate)(
        shelf.now(), team_id=team.id, kept=lifetime(), name=request.POST.get("name", "")
    )
    put = urlsplit(made.url)
    return JsonResponse({"put": f"{put.path}?{put.query}", "url": made.file.url})
