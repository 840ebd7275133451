"""The SVG of a figure as a part of the page: only shapes, no style of its own, and names that no other picture has.

The page's policy forbids style attributes; those of Matplotlib become the attributes of the same names. Whatever else a
file holds, such as scripts, links or text for programs, is left out.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from reproduce import files
from reproduce.page.view import Cell

TAGS = {"svg", "g", "defs", "path", "use", "clipPath", "rect", "circle", "title"}
ATTRIBUTES = {
    "id", "class", "data-kind", "viewBox", "d", "x", "y", "width", "height", "cx", "cy", "r", "transform", "clip-path",
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-linejoin",
    "stroke-linecap", "stroke-dasharray", "stroke-dashoffset", "stroke-miterlimit", "opacity", "pointer-events", "href",
}  # fmt: skip
OF_ALL = {"stroke-linejoin": "round", "stroke-linecap": "butt"}  # which Matplotlib's style sheet gives every element


@dataclass(frozen=True)
class Picture:
    """A figure to be shown: its title in words, the SVG, and the caption with links to its files."""

    title: str
    svg: Markup
    caption: Cell

    @property
    def has_values(self) -> bool:
        """Whether there are marks that say their values."""
        return 'class="values"' in self.svg


def read(path: Path, title: str) -> Markup:
    """The SVG file of a figure. Raises `OSError` if it is not readable, `ValueError` if it is not an SVG."""
    try:
        root = ET.fromstring(files.read_bytes(path))
    except ET.ParseError as error:
        raise ValueError(f"{path.name}: not XML: {error}") from None
    if _local(root.tag) != "svg":
        raise ValueError(f"{path.name}: not an SVG but <{_local(root.tag)}>")
    made = _copy(root, path.stem)
    for name in ("width", "height"):
        made.attrib.pop(name, None)
    _keep_what_is_used(made)
    made.attrib |= OF_ALL | {"role": "img", "aria-label": f"{title}. Its values are in tables on this page."}
    return Markup(ET.tostring(made, encoding="unicode", method="html"))


def _copy(element: ET.Element, name: str) -> ET.Element:
    """The element without what a picture does not need; `name` leads every id."""
    made = ET.Element(_local(element.tag), _attributes(element, name))
    if made.tag == "title":
        made.text = element.text
    if made.get("class") == "values":
        made.set("data-source", f"{name}.json")
    made.extend(_copy(child, name) for child in element if _local(child.tag) in TAGS)
    return made


def _keep_what_is_used(root: ET.Element) -> None:
    """Drop ids that nothing refers to; Matplotlib gives some to several elements."""
    used = {name for one in root.iter() for value in one.attrib.values() for name in re.findall(r"#([\w.-]+)", value)}
    for one in root.iter():
        if one.get("id") not in used:
            one.attrib.pop("id", None)
        used.discard(one.get("id"))


def _attributes(element: ET.Element, name: str) -> dict[str, str]:
    style = (part.partition(":") for part in element.get("style", "").split(";"))
    given = {_local(key): value for key, value in element.attrib.items()} | {
        key.strip(): value.strip() for key, _, value in style
    }
    return {key: text for key, value in given.items() if key in ATTRIBUTES and (text := _named(key, value, name))}


def _named(key: str, value: str, name: str) -> str:
    """An attribute's value with `name` before every id it holds; nothing if it leads out of the page."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}" if value.startswith("#") else ""
    if "url(" in value:
        return re.sub(r"url\(#", f"url(#{name}-", value) if re.fullmatch(r"url\(#\w+\)", value) else ""
    return value


def _local(tag: str) -> str:
    return str(tag).rpartition("}")[2]
