"""The addresses of the page: screens, signing in and out, and the forms by which people change what is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.core.keys import Json
from reconciler.errors import ReconcilerError, UsageError
from reconciler.serve.api.asking import StandsBy, body, status_of, surface
from reconciler.serve.api.writing import ACTS
from reconciler.serve.credentials import SESSION_SECONDS, Credentials, foreign
from reconciler.serve.guard import marked, page_actor
from reconciler.serve.surface import Surface
from reconciler.serve.ui import screens
from reconciler.serve.ui.rendering import page, static

Screen = Callable[[Request, Surface], Awaitable[screens.Shown]]

SCREENS: dict[str, tuple[str, Screen]] = {
    "/": ("fleet.html", screens.fleet),
    "/trees": ("trees.html", screens.trees),
    "/trees/{namespace}/{name}": ("tree.html", screens.tree),
    "/lieutenants/{namespace}/{name}": ("lieutenant.html", screens.lieutenant),
    "/tasks": ("tasks.html", screens.tasks),
    "/tasks/{namespace}/{name}": ("task.html", screens.task),
    "/events": ("events.html", screens.events),
    "/plan": ("plan.html", screens.plan),
    "/capacity": ("capacity.html", screens.capacity),
    "/costs": ("costs.html", screens.spending),
}
DONE = {
    "send": "sent",
    "suspend": "declared Suspended",
    "resume": "declared Running",
    "cancel": "cancelled",
    "retry": "tried again",
    "approve": "approved",
    "deny": "denied",
}


def page_routes(credentials: Credentials, cookie: Callable[[], str]) -> list[BaseRoute]:
    """`cookie`: the name of the session's."""

    def mark_of(request: Request) -> str:
        return credentials.form_mark(request.state.session)

    def shown(template: str, screen: Screen) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                here = surface(request)
                begun = here.hub.here  # what happens while the screen is made is told again
                values = await screen(request, here)
            except ReconcilerError as error:
                return troubled(request, error)
            notice = request.query_params.get("done", "")
            values |= {"href": screens.href, "stream": begun, "changeable": here.handle is not None, "notice": DONE.get(notice, "")}
            return page(request, template, here.hiding, mark_of(request), values)

        return endpoint

    def troubled(request: Request, error: ReconcilerError) -> Response:
        standing_by = isinstance(error, StandsBy)
        hiding = None if standing_by else surface(request).hiding
        values = {"title": "Not done", "error": error, "live": None}
        return page(request, "trouble.html", hiding, mark_of(request), values, status_of(error))

    async def act(request: Request) -> Response:
        """A form of a screen; afterwards the screen again."""
        fields = parse_qs((await body(request)).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
        given = {name: values[-1] for name, values in fields.items()}
        if not marked(request, credentials, given.pop("mark", "")):
            return PlainTextResponse("the mark of the page is missing: load it again\n", 403)
        room, namespace, name = (request.path_params[part] for part in ("room", "namespace", "name"))
        try:
            here, asked = surface(request).acting(page_actor()), asked_by(given)
            wanted = ACTS.get(request.path_params["act"])
            if wanted is None or room not in ("lieutenants", "tasks", "trees"):
                raise UsageError("there is no such form", request.url.path[:200], "go back to the page")
            obj = screens.object_of(here, room, namespace, name)
            await wanted(here, obj, asked)
        except ReconcilerError as error:
            return troubled(request, error)
        return RedirectResponse(f"{screens.href(obj.key)}?done={request.path_params['act']}", 303)

    async def login(request: Request) -> Response:
        """The token becomes a session of this browser."""
        if request.method != "POST":
            return page(request, "login.html", None, "", {"title": "Sign in", "wrong": False, "live": None})
        if foreign({name.lower(): value for name, value in request.headers.items()}):
            return PlainTextResponse("another page asked for this\n", 403)
        fields = parse_qs((await body(request)).decode("utf-8", "replace"), max_num_fields=5)
        if not credentials.fits(fields.get("token", [""])[0].strip()):
            return page(request, "login.html", None, "", {"title": "Sign in", "wrong": True, "live": None}, 403)
        answer = RedirectResponse("/", 303)
        secure, most = request.url.scheme == "https", int(SESSION_SECONDS)
        answer.set_cookie(cookie(), credentials.open_session(), max_age=most, path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    async def logout(request: Request) -> Response:
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(cookie(), path="/")
        return answer

    routes: list[BaseRoute] = [Route(path, shown(template, screen)) for path, (template, screen) in SCREENS.items()]
    return [
        *routes,
        Route("/login", login, methods=["GET", "POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/{room}/{namespace}/{name}/{act}", act, methods=["POST"]),
        Route("/static/{file}", static),
    ]


def asked_by(given: dict[str, str]) -> Json:
    """The fields of a form as the API takes them; what was left empty is left out."""
    asked: Json = {}
    for name, value in given.items():
        if name in ("steer", "confirm"):
            asked[name] = value == "yes"
        elif name in ("after", "files", "commands", "ids"):
            asked[name] = [line.strip() for line in value.splitlines() if line.strip()]
        elif value:
            asked[name] = value.replace("\r\n", "\n")
    return asked
