"""A FastAPI application: `uvicorn app:app`, and `celery -A sesmail worker` beside it."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from sesmail import InvalidEmail, LedgerUnavailable, UnknownSend, send_ses_email, status
from sesmail.doors.asgi import app as events

app = FastAPI()
app.mount("/sesmail/events", events)  # SNS posts here


class Order(BaseModel):
    to: str


@app.post("/order", status_code=202)
async def order(order: Order) -> dict[str, str]:
    """The loop goes on while Redis is asked."""
    result = await send_ses_email.adelay(order.to, "Your order", "It is on its way.")
    return {"id": result.id}


@app.get("/sends/{send_id}")
def look_up(send_id: str) -> dict[str, str | None]:
    """A plain function: FastAPI calls it in a thread."""
    known = status(send_id)
    return {"state": known.state, "reason": known.reason}


@app.exception_handler(InvalidEmail)
def invalid_email(_: Request, error: InvalidEmail) -> JSONResponse:
    return JSONResponse({"field": error.field, "problem": error.problem, "limit": error.limit}, 422)


@app.exception_handler(UnknownSend)
def unknown_send(_: Request, error: UnknownSend) -> JSONResponse:
    return JSONResponse({"problem": str(error)}, 404)


@app.exception_handler(LedgerUnavailable)
def ledger_unavailable(_: Request, _error: LedgerUnavailable) -> JSONResponse:
    return JSONResponse({"problem": "Email cannot be taken now."}, 503, headers={"Retry-After": "5"})
