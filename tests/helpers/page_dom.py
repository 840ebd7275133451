"""A page as a tree, strictly: what is opened is closed. And the rule that every number has a kind and a source."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from reproduce.kinds import KINDS

# A number is a run of digits that no letter or hyphen leads into: not the 50 of ResNet-50, the 1 of top-1 or of D1.
NUMBER = re.compile(r"(?<![\w.-])[-+±]?\d[\d.,]*")
VOID = ("img", "meta", "br", "link")
LABELS = re.compile(r"\b(?:Table|Figures?) \d+(?:(?:, | and | to )\d+)*")  # names of things in the paper


@dataclass
class Node:
    tag: str
    attributes: dict
    parent: "Node | None" = None
    children: list = field(default_factory=list)  # nodes and strings, in order

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, *tags: str):
        for child in self.children:
            if not isinstance(child, str):
                if not tags or child.tag in tags:
                    yield child
                yield from child.all(*tags)

    def strings(self):
        """Every text with the element it stands in."""
        for child in self.children:
            if isinstance(child, str):
                yield self, child
            else:
                yield from child.strings()

    def line(self):
        """This element and all it stands in, innermost first."""
        node = self
        while node:
            yield node
            node = node.parent

    def named(self, name: str) -> "Node":
        return next(node for node in self.all() if node.attributes.get("id") == name)


class Tree(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.root = self.at = Node("", {})
        self.feed(text)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is not closed"

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        node = Node(tag, dict(attrs), self.at)
        self.at.children.append(node)
        if tag not in VOID:
            self.at = node

    def handle_endtag(self, tag):
        assert tag == self.at.tag, f"</{tag}> closes <{self.at.tag}>"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.children.append(data)


def tree(text: str) -> Node:
    return Tree(text).root


def unsourced(root: Node) -> list[str]:
    """The numbers of a page that have no kind and source.

    Not counted: what is no number of a result or a setting, but a name (code, headings and links to them, labels of
    the paper's tables), and what is not shown (style, script, the head).
    """
    found = []
    for node, text in root.strings():
        around = list(node.line())
        if any(one.tag in ("head", "style", "script", "code", "h1", "h2", "h3", "nav") for one in around):
            continue
        if NUMBER.search(LABELS.sub("", text)):
            owner = next((one for one in around if "data-kind" in one.attributes), None)
            if not (owner and owner.attributes["data-kind"] in KINDS and owner.attributes.get("data-source")):
                found.append(" ".join(text.split()))
    return found
