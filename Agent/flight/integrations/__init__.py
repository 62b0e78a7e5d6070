"""`recorded_model`: a model of LangChain, the OpenAI Agents SDK, Pydantic AI or smolagents, recorded.

What comes back is used like the model itself. Each interface has its own module, which is loaded when a model
of that interface is given.
"""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

from Agent.errors import UsageError

__all__ = ["recorded_model"]

Model = TypeVar("Model")

_HOMES = {
    ("langchain_core.language_models.chat_models", "BaseChatModel"): "langchain",
    ("agents.models.interface", "Model"): "openai_agents",
    ("pydantic_ai.models", "Model"): "pydantic_ai",
    ("smolagents.models", "Model"): "smolagents",
}
"""The class that stands for an interface, and the module of this package that records it."""


def recorded_model(model: Model) -> Model:
    """The model, whose calls are recorded: request, answer, pieces of a stream, tokens, cost, errors.

    The model that is given stays as it is. Within `replaying_tools` the answers come from the recording.

    Raises:
        UsageError: it has none of the interfaces.
    """
    for base in type(model).__mro__:
        home = _HOMES.get((base.__module__, base.__qualname__))
        if home is not None:
            made: Model = import_module(f"{__name__}.{home}").recorded(model)
            return made
    raise UsageError(
        f"{type(model).__module__}.{type(model).__qualname__} is not a model that can be recorded",
        remedy="give a chat model of LangChain, or a Model of the OpenAI Agents SDK, Pydantic AI or "
        "smolagents; for others there are recorder.record_model_call and record_model_stream",
    )
