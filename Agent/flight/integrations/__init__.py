"""`recorded_model`: record a model of LangChain, the OpenAI Agents SDK, Pydantic AI or smolagents.

The returned object is used like the model itself. Each interface has its own module, which is imported when a
model of that interface is passed.
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
"""{(module, name) of the base class of an interface: the module of this package that records it}."""


def recorded_model(model: Model) -> Model:
    """Return a copy of a model that records its calls: request, response, pieces, tokens, cost and errors.

    The given model is not changed. Inside `replaying_tools`, the responses come from the recording.

    Raises:
        UsageError: the model has none of the supported interfaces, or cannot be copied.
    """
    for base in type(model).__mro__:
        home = _HOMES.get((base.__module__, base.__qualname__))
        if home is not None:
            copy: Model = import_module(f"{__name__}.{home}").recorded(model)
            return copy
    raise UsageError(
        f"{type(model).__module__}.{type(model).__qualname__} is not a model that can be recorded",
        remedy="give a chat model of LangChain, or a Model of the OpenAI Agents SDK, Pydantic AI or "
        "smolagents; for others there are recorder.record_model_call and record_model_stream",
    )
