"""A graph of LangGraph, recorded; replayed with `--target langgraph_clerk:Clerk`."""

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langgraph.graph import START, MessagesState, StateGraph

from Agent import trace_agent_action
from Agent.flight import recorded_model


class Clerk:
    agent_id = "clerk"

    @trace_agent_action
    def ask(self, question):
        model = recorded_model(GenericFakeChatModel(messages=iter(["tea", "green tea"])))
        nodes = [(name, lambda s: {"messages": model.invoke(s["messages"])}) for name in ("draft", "end")]
        graph = StateGraph(MessagesState).add_sequence(nodes).add_edge(START, "draft").compile()
        return graph.invoke({"messages": question})["messages"][-1].content


if __name__ == "__main__":
    print(Clerk().ask("What is left?"))
