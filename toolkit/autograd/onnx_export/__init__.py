"""Networks as ONNX files, which other programs can run (extra ``onnx``).

The network runs on several ``examples`` and every operation is written down (``tracing``); what the runs have in common
is the program (``merging``); each operation has its ONNX form (``elementary``, ``indexing``, ``neural``), and ``graph``
puts them together. Importing this package does not import ``onnx``.
"""

from toolkit.autograd.onnx_export.export import ONNXModel, export_onnx

__all__ = ["ONNXModel", "export_onnx"]
