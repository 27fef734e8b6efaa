"""The page at /: a form and what it shows, three files that ask for nothing from elsewhere."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlx_trace.resources import page_dir

_FILES: Final = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"),
                 "/page.js": ("page.js", "text/javascript")}  # fmt: skip
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}  # fmt: skip


def page_routes() -> list[Route]:
    """Return the routes of the page's files, which are read once."""
    return [_route(path, (page_dir() / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()]


def _route(path: str, content: bytes, kind: str) -> Route:
    async def file(_: Request) -> Response:
        return Response(content, headers=_HEADERS, media_type=kind)

    return Route(path, file)
