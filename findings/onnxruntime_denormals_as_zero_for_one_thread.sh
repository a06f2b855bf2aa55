#!/usr/bin/env bash
# onnxruntime 1.31.1 (CPU), onnx 1.23.2, numpy 2.4.6, rapidocr 3.10.0; x86-64.
#
# The session option `session.set_denormal_as_zero` holds for the thread that opens the first session
# of a process, if that session has it, and then for all else that this thread computes, NumPy
# included. A later session that asks for it does not get it, nor does a session that is run by
# another thread than the one that opened it, as a thread pool of the caller's does; nothing is said.
# A thread that is started by one for which it holds inherits it.
#
# It matters: GELUs of PP-OCRv6's detector, as rapidocr ships it, give a quarter of a million denormal
# numbers for a picture of noise; on a Xeon it takes 186 ms a picture with them and 49 without.
#
# Seen (a number of 1e-40 times 1, by a session and by NumPy):
#   first session with the option: session 0, NumPy 0
#   the same session in a thread that was there before: session 1e-40, NumPy 1e-40
#   the same session in a thread started since: session 0, NumPy 0
#   second session with the option, the first without: session 1e-40, NumPy 1e-40
#   PP-OCRv6_det_small: 245340 denormal numbers come out of its products, erf nodes 13
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check \
  numpy==2.4.6 onnxruntime==1.31.1 onnx==1.23.2
venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps rapidocr==3.10.0

cat > option.py <<'PYTHON'
import sys
import threading

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

SMALL = np.full(64, 1e-40, np.float32)


def opened(option: bool) -> ort.InferenceSession:
    sides = [64]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "one"], ["y"])],
        "times_one",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, sides),
            helper.make_tensor_value_info("one", TensorProto.FLOAT, sides),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sides)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if option:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return ort.InferenceSession(model.SerializeToString(), options)


def seen(session: ort.InferenceSession) -> tuple[bool, bool]:
    ones = np.ones(64, np.float32)
    by_session = session.run(None, {"x": SMALL, "one": ones})[0]
    return bool(by_session.any()), bool((SMALL * ones).any())


def in_words(kept: tuple[bool, bool]) -> str:
    return "session {}, NumPy {}".format(*("1e-40" if one else "0" for one in kept))


if sys.argv[1] == "first":
    opening, answers = threading.Event(), []
    older = threading.Thread(target=lambda: (opening.wait(), answers.append(seen(session))))
    older.start()
    session = opened(True)
    here = seen(session)
    print("first session with the option:", in_words(here))
    opening.set()
    older.join()
    print("the same session in a thread that was there before:", in_words(answers[0]))
    younger = threading.Thread(target=lambda: answers.append(seen(session)))
    younger.start()
    younger.join()
    print("the same session in a thread started since:", in_words(answers[1]))
    assert here == (False, False) and answers == [(True, True), (False, False)]
else:
    opened(False)
    here = seen(opened(True))
    print("second session with the option, the first without:", in_words(here))
    assert here == (True, True)
PYTHON
venv/bin/python option.py first
venv/bin/python option.py second

venv/bin/python - <<'PYTHON'
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

folder = Path(importlib.util.find_spec("rapidocr").origin).parent / "models"
model = onnx.load(folder / "PP-OCRv6_det_small.onnx")
gelus = sum(node.op_type == "Erf" for node in model.graph.node)
after = [out for node in model.graph.node if node.op_type == "Mul" for out in node.output]
del model.graph.output[1:]
model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in after)
session = ort.InferenceSession(model.SerializeToString())
noise = np.random.default_rng(0).random((1, 3, 576, 320), dtype=np.float32)
tiny = np.finfo(np.float32).tiny
found = 0
for values in session.run(after, {session.get_inputs()[0].name: noise}):
    found += int(((values != 0) & (np.abs(values) < tiny)).sum())
print("PP-OCRv6_det_small:", found, "denormal numbers come out of its products, erf nodes", gelus)
assert found > 1000
PYTHON
