"""The mark: a wheel of twelve thin leaves, some of them lit, as inline SVG."""

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

LEAVES = 12
LEAF = '<rect x="21.9" y="1.5" width="4.2" height="14.5" rx="2.1" transform="rotate({} 24 24)"{}/>'


def wheel(lit: int, extra: str = "") -> SafeString:
    """A wheel with the first `lit` of its leaves alight, clockwise from the top."""
    leaves = "".join(
        LEAF.format(n * 360 // LEAVES, ' class="lit"' if n < lit else "") for n in range(LEAVES)
    )
    return format_html(
        '<svg class="wheel {}" viewBox="0 0 48 48" aria-hidden="true" focusable="false">{}</svg>',
        extra,
        mark_safe(leaves),  # noqa: S308 - numbers of ours only
    )


def lit_leaves(step: int, steps: int) -> int:
    """How many of twelve leaves say `step` of `steps`; none before the first step."""
    return 0 if steps <= 0 else min(LEAVES, -(-step * LEAVES // steps))
