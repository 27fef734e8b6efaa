"""A parsed template in which what it does is counted: calls are put wherever it goes on, or makes something.

Takes Jinja's nodes. The calls are of their environment, which offers `spend`, `text`, `concat_texts`, `weigh` and
`measure`, and says when it is enough.
"""

from typing import Any, Final, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

_MACRO: Final = 50  # steps that calling one takes


class Counting(NodeTransformer):
    """Puts a count wherever a template goes on, writes, joins, compares or makes something."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 as Jinja has it
        return self._begun(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._begun(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        return self._begun(node)

    def _begun(self, node: Any) -> nodes.Node:
        """Return a node whose body begins with a count of itself and the text that stands in it."""
        size = (1 if isinstance(node, nodes.For) else _MACRO) + sum(
            len(text.data) for text in node.find_all(nodes.TemplateData)
        )
        self.generic_visit(node)
        line = node.lineno
        node.body.insert(0, nodes.Output([_called("spend", line, nodes.Const(size, lineno=line))], lineno=line))
        return cast(nodes.Node, node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [part if isinstance(part, nodes.TemplateData) else _called("text", node.lineno, part)
                      for part in node.nodes]  # fmt: skip
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _called("concat_texts", node.lineno, *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _called("weigh", node.lineno, node.expr)
        for operand in node.ops:
            operand.expr = _called("weigh", node.lineno, operand.expr)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if node.name not in ("defined", "undefined"):  # which look at the name itself
            node.node = _called("weigh", node.lineno, node.node)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        is_slice = isinstance(node.arg, nodes.Slice) and node.ctx == "load"
        return _called("measure", node.lineno, node) if is_slice else node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _called("measure", node.lineno, node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        return self.visit_List(cast(nodes.List, node))

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _called("measure", node.lineno, node) if node.ctx == "load" else node


def _called(name: str, line: int, *args: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name, lineno=line), list(args), [], None, None, lineno=line)
