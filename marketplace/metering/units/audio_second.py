"""Seconds of delivered sound, counted from decoded samples and their rate."""

from marketplace.metering.units.video_second import VideoSecond


class AudioSecond(VideoSecond):
    slug = "audio_second"
    label = "second of sound"
