"""A Markov chain of words: counters of counters, generators, regular expressions."""

import random
import re
from collections import Counter, defaultdict
from itertools import pairwise

from Agent import setup_logging, shutdown_logging, trace_agent_action

TEXT = "the cat sat on the mat. the dog sat on the cat. a dog and a cat met on the mat."


class Writer:
    def __init__(self):
        self.agent_id, self.agent_role = "writer", "writer"
        self.pattern = re.compile(r"[a-z]+|\.")
        self.following = defaultdict(Counter)
        self.random = random.Random("words")
        self.written = []

    def pairs(self, text):
        words = self.pattern.findall(text)
        yield from pairwise(words)

    @trace_agent_action()
    def read(self, text):
        for first, second in self.pairs(text):
            self.following[first][second] += 1
        return {word: counts.most_common(1) for word, counts in self.following.items()}

    @trace_agent_action()
    def write(self, word="the"):
        sentence = [word]
        while sentence[-1] != "." and len(sentence) < 12:
            counts = self.following[sentence[-1]]
            sentence.append(self.random.choices(list(counts), list(counts.values()))[0])
        self.written.append(" ".join(sentence))
        return self.written[-1]


def build(spec):
    return Writer()


def main():
    setup_logging()
    writer = Writer()
    writer.read(TEXT)
    for word in ["the", "a", "dog", "the", "cat"]:
        writer.write(word)
    shutdown_logging()
    print(writer.written)


if __name__ == "__main__":
    main()
