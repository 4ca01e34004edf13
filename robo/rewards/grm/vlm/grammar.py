"""The score grammar in a tokenizer's tokens: what may come next, and the tree of all answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.score_text import ALPHABET, OPEN, format_score, may_go_on


class TokenGrammar:
    """Which tokens keep an answer inside the grammar.

    Any cut of the answer into tokens is allowed, so that the model may answer in the pieces that
    its tokenizer learned. Byte-level BPE (Qwen's) spells printable ASCII as itself, so the
    candidates are the tokens spelled in the grammar's alphabet.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Read the vocabulary.

        Raises:
            RoboError: a vocabulary in which no answer can be spelled.
        """
        special = set(tokenizer.all_special_tokens)
        self.spelling: dict[int, str] = {
            index: token
            for token, index in tokenizer.get_vocab().items()
            if token and token not in special and ALPHABET.issuperset(token)
        }
        self.end = int(tokenizer.eos_token_id)
        self._next = lru_cache(maxsize=65_536)(self._continue)
        if not self.next("") or not self.next(OPEN):
            raise RoboError(
                "the model's tokenizer cannot spell '<score>+50%</score>'; it is no checkpoint of "
                "a General Reward Model"
            )

    def _continue(self, text: str) -> tuple[int, ...]:
        found = [index for index, token in self.spelling.items() if may_go_on(text + token)]
        return tuple(found) or (self.end,)

    def next(self, text: str) -> tuple[int, ...]:
        """Token ids that may follow ``text``; only the end token after a whole answer."""
        return self._next(text)

    def text(self, tokens: Sequence[int]) -> str:
        """Spelling of an answer's tokens; others than the grammar's are left out."""
        return "".join(self.spelling.get(int(token), "") for token in tokens)

    def after(self, prompt_length: int) -> Callable[[int, Tensor], list[int]]:
        """``prefix_allowed_tokens_fn`` of ``generate`` for prompts of so many tokens."""

        def allowed(_: int, tokens: Tensor) -> list[int]:
            return list(self.next(self.text(tokens[prompt_length:].tolist())))

        return allowed


@dataclass(frozen=True)
class ScoreTree:
    """All answers in whole percents as one tree of tokens, to be read in one forward pass.

    Node 0 is the state after the prompt and ``forced`` tokens; node i > 0 has read ``token[i]``
    after its parent. At a node the model chooses among its ``edges``: to a child, or to end the
    number (by ``.``, ``%`` or the closing tag).
    """

    forced: tuple[int, ...]
    """Tokens that every answer begins with; they belong to the prompt."""
    token: Tensor
    """int64 ``[N]``, token of each node; that of node 0 is not read."""
    parent: Tensor
    """int64 ``[N]``, -1 for node 0; parents come before children."""
    depth: Tensor
    """int64 ``[N]``, 0 for node 0."""
    vocabulary: Tensor
    """int64 ``[A]``, every token on some edge, ascending."""
    edge_node: Tensor
    """int64 ``[E]``, node that an edge leaves."""
    edge_column: Tensor
    """int64 ``[E]``, its token as a column of ``vocabulary``."""
    edge_leaf: Tensor
    """int64 ``[E]``, index of the score that it ends in; -1 for an edge to a child."""
    child_edge: Tensor
    """int64 ``[N]``, edge that leads to a node; -1 for node 0."""
    score: Tensor
    """float32 ``[S]``, hops in [-1, 1] that an ending edge stands for."""

    def attention(self, prompt: int) -> Tensor:
        """Bool ``[N-1, prompt + N-1]``: a node sees the prompt, its ancestors and itself."""
        nodes = len(self.token)
        sees = torch.zeros((nodes, nodes), dtype=torch.bool)
        for node in range(1, nodes):
            parent = int(self.parent[node])
            sees[node] = sees[parent]
            sees[node, node] = True
        before = torch.ones((nodes - 1, prompt), dtype=torch.bool)
        return torch.cat([before, sees[1:, 1:]], dim=1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probability of every score under decoding inside the grammar.

        Args:
            logits: ``[P, N, A]``, of the vocabulary's tokens at every node.

        Returns:
            float32 ``[P, S]``; rows sum to 1. NaN rows where a logit is not finite.
        """
        device = logits.device
        node, leaf = self.edge_node.to(device), self.edge_leaf.to(device)
        value = logits[:, node, self.edge_column.to(device)].float()  # [P, E]
        nodes = len(self.token)
        index = node.expand_as(value)
        top = value.new_full((len(value), nodes), -torch.inf)
        top = top.scatter_reduce(1, index, value.detach(), "amax")
        mass = (value - top.gather(1, index)).exp()
        total = torch.zeros_like(top).scatter_add(1, index, mass)
        share = mass / total.gather(1, index)
        reach: list[Tensor] = [value.new_ones(len(value))]
        for at in range(1, nodes):
            reach.append(reach[int(self.parent[at])] * share[:, int(self.child_edge[at])])
        ended = torch.stack(reach, dim=1)[:, node] * share
        ends = leaf >= 0
        scores = value.new_zeros((len(value), len(self.score)))
        return scores.index_add(1, leaf[ends], ended[:, ends])


def score_tree(tokenizer: Any, grammar: TokenGrammar) -> ScoreTree:
    """The tree of the answers from -100 % to 100 %, as the tokenizer itself would cut them.

    An answer that goes on with a decimal point stands for the middle of its decimals.

    Raises:
        RoboError: a tokenizer that merges digits with what ends a number, so that whole percents
            are no nodes of their own.
    """
    answers = {
        value: tokenizer.encode(_number(value), add_special_tokens=False)
        for value in range(-100, 101)
    }
    forced = _common([tuple(tokens) for tokens in answers.values()])
    if not OPEN.startswith(grammar.text(forced)):
        raise RoboError(f"the tokenizer cuts scores in an unknown way: {answers[0]}")
    builder = _Builder(grammar, grammar.text(forced))
    for value, tokens in answers.items():
        builder.add(tuple(tokens[len(forced) :]), value)
    return builder.tree(forced)


def _number(value: int) -> str:
    """An answer up to the end of its number."""
    return format_score(value / 100.0).partition("%")[0]


def _common(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Longest common beginning."""
    low, high = min(rows), max(rows)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:same]


class _Builder:
    """Collects nodes and edges."""

    def __init__(self, grammar: TokenGrammar, text: str) -> None:
        self.grammar = grammar
        self.nodes: list[tuple[int, int, int, str]] = [(0, -1, 0, text)]
        self.children: dict[tuple[int, int], int] = {}
        self.values: dict[int, int] = {}

    def add(self, tokens: tuple[int, ...], value: int) -> None:
        """The path of one answer."""
        node = 0
        for token in tokens:
            if (node, token) not in self.children:
                text = self.nodes[node][3] + self.grammar.spelling[token]
                self.children[node, token] = len(self.nodes)
                self.nodes.append((token, node, self.nodes[node][2] + 1, text))
            node = self.children[node, token]
        if node in self.values:
            raise RoboError(f"the tokenizer spells {value}% and {self.values[node]}% alike")
        self.values[node] = value

    def tree(self, forced: tuple[int, ...]) -> ScoreTree:
        """All of it as tensors."""
        edges: list[tuple[int, int, float | None]] = []
        child_edge = [-1] * len(self.nodes)
        for (node, token), child in self.children.items():
            child_edge[child] = len(edges)
            edges.append((node, token, None))
        for node, value in self.values.items():
            text = self.nodes[node][3]
            for token in self.grammar.next(text):
                spelled = self.grammar.spelling.get(token, "")
                if spelled[:1] in ("%", "<"):
                    edges.append((node, token, value / 100.0))
                elif spelled[:1] == "." and abs(value) < 100:
                    sign = 0.0 if value == 0 else 1.0 if value > 0 else -1.0
                    edges.append((node, token, (value + 0.45 * sign) / 100.0))
        vocabulary = sorted({token for _, token, _ in edges})
        scores = sorted({score for _, _, score in edges if score is not None})
        column = {token: i for i, token in enumerate(vocabulary)}
        place = {score: i for i, score in enumerate(scores)}
        return ScoreTree(
            forced,
            torch.tensor([node[0] for node in self.nodes]),
            torch.tensor([node[1] for node in self.nodes]),
            torch.tensor([node[2] for node in self.nodes]),
            torch.tensor(vocabulary),
            torch.tensor([node for node, _, _ in edges]),
            torch.tensor([column[token] for _, token, _ in edges]),
            torch.tensor([-1 if score is None else place[score] for _, _, score in edges]),
            torch.tensor(child_edge),
            torch.tensor(scores, dtype=torch.float32),
        )
