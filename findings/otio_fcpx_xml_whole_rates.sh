#!/usr/bin/env bash
# OpenTimelineIO 0.18.1 with otio-fcpx-xml-adapter 1.0.0.
#
# The adapter computes in floats and cuts them down to whole numbers. A timeline at 30000/1001 frames per
# second, which is what 29.97 stands for, is written without the duration of a frame; a file at that rate
# is read as one of 29; and at 25 frames per second frame 1799 of a file is read as 1798.
#
# Seen:
#   writing at 30000/1001: frameDuration=''
#   reading 300 frames at 30000/1001: 290 frames at 29
#   reading frame 1799 at 25: 1798
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check \
    opentimelineio==0.18.1 otio-fcpx-xml-adapter==1.0.0

venv/bin/python - <<'PYTHON'
import re

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

XML = """<?xml version="1.0"?><!DOCTYPE fcpxml><fcpxml version="1.8"><resources>
<format id="r1" frameDuration="{step}s"/>
<asset id="r2" name="a" start="0s" duration="{length}s" hasVideo="1" format="r1" src="file:///a.mp4"/>
</resources><library><event name="e"><project name="p"><sequence format="r1" duration="{length}s">
<spine><asset-clip ref="r2" name="a" offset="0s" start="{start}s" duration="{length}s" format="r1"/></spine>
</sequence></project></event></library></fcpxml>"""


def read(**times):
    made = otio.adapters.read_from_string(XML.format(**times), "fcpx_xml")
    return list(made.find_clips())[0].source_range


timeline = otio.schema.Timeline("t")
track = otio.schema.Track("V1", kind="Video")
whole = TimeRange(RationalTime(0, 30000 / 1001), RationalTime(300, 30000 / 1001))
track.append(otio.schema.Clip("a", otio.schema.ExternalReference("file:///a.mp4", whole), whole))
timeline.tracks.append(track)
text = otio.adapters.write_to_string(timeline, "fcpx_xml")
step = re.search(r'frameDuration="([^"]*)"', text).group(1)
print(f"writing at 30000/1001: frameDuration={step!r}")
length = read(step="1001/30000", start="0", length="300300/30000").duration
print(f"reading 300 frames at 30000/1001: {length.value:g} frames at {length.rate:g}")
start = read(step="1/25", start="1799/25", length="10/25").start_time
print(f"reading frame 1799 at 25: {start.value:g}")
assert step == ""
assert (length.value, length.rate) == (290, 29)
assert start.value == 1798
PYTHON
