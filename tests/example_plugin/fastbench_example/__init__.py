"""A loader, a model and an engine of one's own for fastbench, in a package of one's own.

Install it beside fastbench and use them by name:

    pip install ./example_plugin
    fastbench loaders                         # pil-threads is among them
    fastbench loaders check pil-threads       # does it keep the contract?
    fastbench run --loader pil-threads
    fastbench run --model example-convnet
    fastbench run --engine exported

What makes it a plug-in is three tables in `pyproject.toml`; nothing is registered in code. The
loader is in `loader.py`, the model in `model.py`, the engine in `engine.py`.
"""
