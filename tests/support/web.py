"""A web server on loopback that serves a folder well or badly, for cli/fetch.sh.

    web.py FOLDER LOG       prints its port; LOG gets a line a request: path, then the Range or -

The first word of a path says how, the rest is the file:
    plain     with ranges                       norange   without
    break     each answer ends in the middle    once      the first does
    nolength  the same without a length         stall     the first stops in the middle, open
    silent    each stops before the first byte  wrong     other bytes, as many
    slow      in halves, a second apart         busy      503 at first
    moved     redirects to plain                loop      to itself
    local     to a file: URL                    other     to ftp:
    lost      to nowhere, with a page           nothing   204, no content
    empty     no bytes                          page      HTML
Anything else is not found.
"""
import http.server
import os
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    seen = set()

    def is_first(self):
        first = self.path not in self.seen
        self.seen.add(self.path)
        return first

    def redirect(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()

    def do_GET(self):
        with open(self.log, "a") as log:
            print(self.path, self.headers.get("Range", "-"), file=log)
        _, how, name = self.path.split("/", 2)
        path = os.path.join(self.folder, name)
        targets = {"moved": "/plain/" + name, "loop": self.path, "other": "ftp://127.0.0.1/x",
                   "local": "file://" + os.path.abspath(path)}
        if how in targets:
            return self.redirect(targets[how])
        if how in ("lost", "nothing", "empty", "page"):
            return self.send_no_file(how)
        known = "plain norange break once nolength stall silent slow wrong busy".split()
        if how not in known or not os.path.exists(path):
            return self.send_error(404)
        if how == "busy" and self.is_first():
            return self.send_error(503)
        with open(path, "rb") as file:
            self.send(how, file.read())

    def send_no_file(self, how):
        page = b"<html>not here</html>" if how in ("lost", "page") else b""
        self.send_response({"lost": 302, "nothing": 204}.get(how, 200))
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def send(self, how, content):
        if how == "wrong":
            content = bytes(byte ^ 1 for byte in content)
        begin, asked = 0, self.headers.get("Range")
        if asked and how != "norange":
            begin = int(asked.split("=")[1].split("-")[0])
            if begin >= len(content):
                return self.send_error(416)
        part = content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if how != "nolength":
            self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if how == "silent":
            time.sleep(30)
        cut = how == "break" or how in ("once", "nolength", "norange", "stall") and self.is_first()
        half = (len(part) + 1) // 2
        self.wfile.write(part[:half])
        self.wfile.flush()
        if how == "slow":
            time.sleep(1)
        if not cut:
            self.wfile.write(part[half:])
            self.wfile.flush()
        if how == "stall" and cut:
            time.sleep(30)

    def log_message(self, *_):
        pass


def main():
    Handler.folder, Handler.log = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


main()
