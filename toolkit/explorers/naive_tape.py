"""The shortest tape that works, for the lesson to read aloud and to find fault with.

Every result holds a closure that passes its gradient back; many small teaching engines are built so. It has two traps:
gradients that share memory, and results that hold closures that hold the results.
"""

import numpy as np


class Tensor:
    """An array that remembers how it was made."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, None, parents
        self.pass_back = lambda: None

    def receive(self, gradient):
        self.grad = gradient if self.grad is None else self.grad + gradient

    def __add__(self, other):
        out = Tensor(self.data + other.data, (self, other))
        out.pass_back = lambda: (self.receive(out.grad), other.receive(out.grad))
        return out

    def __mul__(self, other):
        out = Tensor(self.data * other.data, (self, other))
        out.pass_back = lambda: (
            self.receive(out.grad * other.data),
            other.receive(out.grad * self.data),
        )
        return out

    def __matmul__(self, other):
        out = Tensor(self.data @ other.data, (self, other))
        out.pass_back = lambda: (
            self.receive(out.grad @ other.data.T),
            other.receive(self.data.T @ out.grad),
        )
        return out

    def tanh(self):
        out = Tensor(np.tanh(self.data), (self,))
        out.pass_back = lambda: self.receive(out.grad * (1 - out.data**2))
        return out

    def backward(self):
        order = {}

        def visit(node):
            if node not in order:
                for parent in node.parents:
                    visit(parent)
                order[node] = None

        visit(self)
        self.grad = np.ones_like(self.data)
        for node in reversed(order):
            node.pass_back()
