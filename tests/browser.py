"""A page in Chromium without a window, by the DevTools protocol over a pipe
(https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = next(filter(None, map(shutil.which, PROGRAMS)), None)
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
)
ON_PIPE = 'exec "$@" 3<&"$FROM_TEST" 4>&"$TO_TEST"'
TIMEOUT_S = 40


class Browser:
    """One page; `errors` are what its console and its scripts told, `requests` the addresses that
    it asked for."""

    def __init__(self, profile):
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "-c", ON_PIPE, "bash", PROGRAM, *OPTIONS, f"--user-data-dir={profile}"],
            env=os.environ | {"FROM_TEST": str(theirs_in), "TO_TEST": str(theirs_out)},
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers, self._session, self._read = itertools.count(1), None, b""
        self.errors, self.requests, self._answers = [], [], {}
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def close(self):
        os.close(self._to)
        self._process.terminate()
        self._process.wait(TIMEOUT_S)
        os.close(self._from)

    def resize(self, width, height):
        """The window, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme):
        """light or dark, as the settings of who looks say."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, path):
        self._call("Page.navigate", url=path.as_uri())

    def wait(self, condition):
        """Until a JavaScript expression is true."""
        end = time.monotonic() + TIMEOUT_S
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}; {self.errors}"
            time.sleep(0.1)

    def evaluate(self, expression):
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def move(self, x, y):
        self._mouse("mouseMoved", x, y)

    def click(self, x, y):
        """Pressed and released without a wait between, as a long press is no click."""
        self._mouse("mouseMoved", x, y)
        where = {"x": x, "y": y, "button": "left", "clickCount": 1}
        kinds = ("mousePressed", "mouseReleased")
        sent = [self._send("Input.dispatchMouseEvent", type=kind, **where) for kind in kinds]
        for number in sent:
            self._answer(number)

    def picture(self, path):
        """Write the whole page as a PNG file."""
        found = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _mouse(self, kind, x, y):
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y)

    def _call(self, method, **params):
        return self._answer(self._send(method, **params))

    def _send(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return number

    def _answer(self, number):
        while number not in self._answers:
            told = self._next()
            if "id" in told:
                self._answers[told["id"]] = told
            else:
                self._note(told)
        answer = self._answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], TIMEOUT_S)
            assert ready, "the browser does not answer"
            self._read += (more := os.read(self._from, 1 << 20))
            assert more, "the browser has ended"
        first, _, self._read = self._read.partition(b"\0")
        return json.loads(first)

    def _note(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append([each.get("value") for each in params["args"]])
