"""A small lab: smolagents' ToolCallingAgent with a rule-based model plans titrations."""
import os

from smolagents import ChatMessage, Model, ToolCallingAgent, tool
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole
from smolagents.monitoring import LogLevel

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

PKA = {"acetic": 4.76, "formic": 3.75, "boric": 9.24, "lactic": 3.86, "carbonic": 6.35}


@tool
def pka(acid: str) -> float:
    """Returns the pKa of an acid.

    Args:
        acid: the name of the acid
    """
    return PKA[acid]


@tool
def mix(volume: float, strength: float) -> float:
    """Moles of base in a volume.

    Args:
        volume: in mL
        strength: in mol per L
    """
    return round(volume * strength / 1000, 6)


class RuleModel(Model):
    def __init__(self):
        super().__init__(model_id="rules")
        self.turn = 0

    def generate(self, messages, stop_sequences=None, response_format=None, tools_to_call_from=None, **kwargs):
        self.turn += 1
        text = " ".join(str(part.get("text", "")) for m in messages if isinstance(m.content, list) for part in m.content)
        text = text[text.rindex("TASK:"):]
        task = text[5:].split(";")[0].split()
        observed = text.count("Observation")
        if observed == 0:
            call = ("pka", {"acid": task[0]})
        elif observed == 1:
            call = ("mix", {"volume": float(task[1]), "strength": 0.1})
        else:
            call = ("final_answer", {"answer": f"{task[0]}:{text.rsplit('Observation:', 1)[-1].split()[0]}"})
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[ChatMessageToolCall(
            id=f"t{self.turn}", type="function", function=ChatMessageToolCallFunction(name=call[0], arguments=call[1]))])


class Chemist:
    def __init__(self, agent_id, stock=900.0):
        self.agent_id = agent_id
        self.stock = stock
        self.notebook = []
        self.results = {}
        self.retries = 0

    def _agent(self):
        return ToolCallingAgent(tools=[pka, mix], model=RuleModel(), max_steps=5, verbosity_level=LogLevel.OFF)

    @trace_agent_action()
    @watch
    def titrate(self, acid, volume):
        if volume > self.stock:
            raise RuntimeError(f"only {self.stock} mL of base left, {volume} needed for {acid}")
        answer = str(self._agent().run(f"TASK: {acid} {volume} ;"))
        self.stock -= volume
        self.notebook.append(answer)
        name, _, moles = answer.partition(":")
        entry = self.results.setdefault(name, {"runs": 0, "moles": 0.0})
        entry["runs"] += 1
        entry["moles"] = round(entry["moles"] + float(moles), 6)
        return answer

    @trace_agent_action()
    @watch
    def report(self):
        ranked = sorted(self.results, key=lambda a: (-self.results[a]["moles"], a))
        if self.stock < 200:
            self.retries += 1
            self.stock += 350
        return ranked[:3]


STOCKS = {"marie": 900.0, "fritz": 610.0}


def build(spec):
    if spec.agent_id is None:
        return {name: Chemist(name, stock) for name, stock in STOCKS.items()}
    return Chemist(spec.agent_id, STOCKS[spec.agent_id])


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    chemists = [Chemist(*row) for row in STOCKS.items()]
    acids = list(PKA)
    for day in range(8):
        with tick(day):
            for k, chemist in enumerate(chemists):
                for j in range(2):
                    acid = acids[(day + 2 * j + k) % len(acids)]
                    try:
                        print(day, chemist.agent_id, chemist.titrate(acid, 40.0 + 13 * ((day + k) % 4) + 5 * j))
                    except RuntimeError as error:
                        print(day, error)
                if day % 3 == 2:
                    print(chemist.report())
    for chemist in chemists:
        print(chemist.agent_id, chemist.stock, chemist.results)


if __name__ == "__main__":
    main()
