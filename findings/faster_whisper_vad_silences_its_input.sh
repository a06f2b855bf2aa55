#!/usr/bin/env bash
# faster-whisper 1.2.1, numpy 2.4.6.
#
# The Silero model of faster_whisper.vad writes into the sound that it is given: the last 64 samples
# of the caller's array are 0 after a call, since the context of the windows is a view of it. The last
# window is judged without them.
#
# Seen:
#   before: 64 of the last 64 samples differ from 0
#   after the first call: 0 of the last 64, all others as they were: True
#   with a window of silence behind it, its own samples as they were: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 faster-whisper==1.2.1

venv/bin/python - <<'PYTHON'
import numpy as np
from faster_whisper.vad import get_vad_model

model = get_vad_model()
sound = (0.3 * np.sin(np.arange(16 * 512) / 9) + 0.05).astype(np.float32)
sound[-64:] = 0.25
kept = sound.copy()
print("before:", np.count_nonzero(sound[-64:]), "of the last 64 samples differ from 0")
model(sound)
others = bool((sound[:-64] == kept[:-64]).all())
print("after the first call:", np.count_nonzero(sound[-64:]), "of the last 64, all others as they were:", others)
assert np.count_nonzero(kept[-64:]) == 64
assert np.count_nonzero(sound[-64:]) == 0 and others

longer = np.concatenate([kept, np.zeros(512, np.float32)])
model(longer)
same = bool((longer[: len(kept)] == kept).all())
print("with a window of silence behind it, its own samples as they were:", same)
assert same
PYTHON
