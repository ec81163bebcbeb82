"""An RTSP server for the tests: GStreamer's, as cameras and encoders have it.

    /usr/bin/python3 rtsp_server.py FILE.ts PORT

Runs in the system's Python, which has GStreamer's bindings (Debian: python3-gi,
gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base, -good and -bad). Each client gets the file
(MPEG-TS with H.264 and AAC) from its beginning at its own pace. Prints the port when it listens;
port 0: any that is free.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the version comes first

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_service(sys.argv[2])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( filesrc location={sys.argv[1]} ! tsdemux name=d "
    "d. ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 "
    "d. ! queue ! aacparse ! rtpmp4apay name=pay1 pt=97 )"
)
server.get_mount_points().add_factory("/live", factory)
if not server.attach(None):
    sys.exit(f"nothing can listen on port {sys.argv[2]}")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
