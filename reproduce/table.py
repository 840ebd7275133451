"""A table as Markdown, CSV and LaTeX, from the same cells."""

import csv
import io

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "–": "--", "×": r"$\times$",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Text in which every character stands for itself in LaTeX; an ASCII arrow becomes one."""
    arrow = r"$\rightarrow$"
    return arrow.join("".join(LATEX.get(char, char) for char in part) for part in text.split("->"))


def escape_markdown(text: str) -> str:
    """Text of a log that makes no tag, entity or link in Markdown; an ASCII arrow stays as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("](", r"]\(")
    return "->".join(part.replace(">", "&gt;") for part in text.split("->"))


def markdown(header: list[str], rows: list[list[str]]) -> str:
    def line(cells):
        return "| " + " | ".join(escape_markdown(cell).replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)]) + "\n"


def comma_separated(header: list[str], rows: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def latex(header: list[str], rows: list[list[str]], columns: str, title: str, rule_before: int) -> str:
    r"""A ``tabular`` to ``\input``; `columns` is its format, and a rule separates the rows from `rule_before` on."""
    body = [" & ".join(map(escape_latex, row)) + r" \\" for row in rows]
    body.insert(rule_before, r"\midrule")
    return "\n".join([
        f"% {title}", r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}; wide: set it in a landscape page.",
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
        " & ".join(map(escape_latex, header)) + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip
