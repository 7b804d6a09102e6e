"""Addresses of media: uploads and files by their tickets, all else by its path and signature."""

from django.urls import path, re_path

from marketplace.media.receive import uploads
from marketplace.media.serve import file, media

urlpatterns = [
    re_path(r"^uploads/", uploads, name="uploads"),
    re_path(r"^files/.*/multipart/", uploads),
    re_path(r"^files/", file, name="file"),
    path("<path:path>", media, name="media"),
]
