"""What can be done on the dashboard. Each is a form that says what will happen, and is noted before it does."""

from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from coordinator.dashboard.roles import Action
from coordinator.rollout.machine import refusal
from coordinator.rollout.state import Wish, at_risk, touched
from coordinator.shell import experiments
from coordinator.shell.dashboard.door import form, guarded, note, site_of
from coordinator.shell.dashboard.pages.rollouts import DEEDS
from coordinator.shell.dashboard.rendering import show
from coordinator.shell.dashboard.users import Session
from coordinator.shell.experiment_store import ExperimentStore
from coordinator.shell.rollout_store import RolloutStore
from firmware_configs import erasure_evidence
from firmware_configs.errors import EdgeError
from firmware_configs.ledger_evidence import key_of

REASON_MAX = 300
WORDS = {
    "rollback": ("Stop and roll back", "Every device that was asked goes back to the version that it ran before."),
    "pause": ("Pause", "No more devices are asked, and no cohort passes. The guards go on looking."),
    "resume": ("Resume", "The rollout goes on where it was paused."),
    "promote": ("Promote", "The cohort passes now, without the rest of its soak and evidence."),
}


async def rollout_deed(request: Request, session: Session) -> Response:
    """Ask for something to be done to a rollout: what it means, then the wish, which the next step takes in."""
    site, key, deed = site_of(request), request.path_params["rollout"], request.path_params["deed"]
    kept = await anyio.to_thread.run_sync(lambda: _rollout(site.home, key))
    title, meaning = WORDS[deed]
    given = await form(request) if request.method == "POST" else {}
    reason, why = given.get("reason", "").strip()[:REASON_MAX], ""
    wish = Wish(kind=deed, who=session.user.name, reason=reason)
    if request.method == "POST" and not reason:
        why = "Say why: it is kept in the audit log."
    elif request.method == "POST":
        note(request, session, f"rollout.{deed}", kept["rollout"].key, reason)
        try:
            await anyio.to_thread.run_sync(lambda: _wish(site.home, kept["rollout"].key, wish))
            return RedirectResponse(f"/rollouts/{kept['rollout'].key}", 303)
        except EdgeError as error:
            why = f"{error.what}. {error.hint}"
    if (refused := refusal(kept["rollout"], wish)) is not None and not why:
        why = f"{refused.what}. {refused.hint}"
    status = 409 if why and request.method == "POST" and reason else 400 if why and request.method == "POST" else 200
    context = {"deed": deed, "title": title, "meaning": meaning, "why": why, "refused": refused is not None}
    return show(request, "confirm.html", session, status=status, **kept, **context)


def _rollout(home: Any, key: str) -> dict[str, Any]:
    store = RolloutStore(home)
    try:
        found = store.rollout(key)
    finally:
        store.close()
    return {"rollout": found, "touched": len(touched(found)), "at_risk": len(at_risk(found))}


def _wish(home: Any, key: str, wish: Wish) -> None:
    store = RolloutStore(home)
    try:
        store.wish(key, wish)
    finally:
        store.close()


async def release(request: Request, session: Session) -> Response:
    """Add up an experiment's sums and release them; with noise for privacy that spends of its budget."""
    site, name = site_of(request), request.path_params["experiment"]
    plan = await anyio.to_thread.run_sync(lambda: ExperimentStore(site.home).plan(name))
    why = ""
    if request.method == "POST":
        note(request, session, "experiment.release", name)
        try:
            await anyio.to_thread.run_sync(experiments.release, site.home, name)
            return RedirectResponse(f"/experiments/{name}", 303)
        except EdgeError as error:
            why = f"{error.what}. {error.hint}"
    return show(request, "release.html", session, status=409 if why else 200, plan=plan, why=why)


async def erasure(request: Request, session: Session) -> Response:
    """Check a receipt of an erasure against the key that the device was enrolled with. Nothing of it is kept."""
    site, given = site_of(request), await form(request)
    found: dict[str, Any] = {"receipt": None, "flaws": [], "trouble": None, "subject": given.get("subject", "").strip()}
    try:
        copy = erasure_evidence.parse(given.get("receipt", "").encode(), "the receipt")
        note(request, session, "looked", f"an erasure receipt of {copy.receipt.device}")
        device = await anyio.to_thread.run_sync(lambda: _enrolled(site.home, copy.receipt.device))
        found["receipt"] = copy.receipt
        found["flaws"] = erasure_evidence.examine([copy], key_of(device.encode(), "its key"), found["subject"])
    except EdgeError as error:
        found["trouble"] = error
    return show(request, "erasure.html", session, status=400 if found["trouble"] else 200, **found)


def _enrolled(home: Any, device: str) -> str:
    from coordinator.shell.store import Store

    return Store(home).device(device).public_key


def _deed(deed: str) -> Route:
    action: Action = f"rollout.{deed}"  # type: ignore[assignment]

    async def asked(request: Request, session: Session) -> Response:
        request.path_params["deed"] = deed
        return await rollout_deed(request, session)

    return Route(f"/rollouts/{{rollout}}/{deed}", guarded(action, asked), methods=["GET", "POST"])


ROUTES = (
    *(_deed(deed) for deed in DEEDS),
    Route("/experiments/{experiment}/release", guarded("experiment.release", release), methods=["GET", "POST"]),
    Route("/privacy/erasure", guarded("look.privacy", erasure), methods=["POST"]),
)
