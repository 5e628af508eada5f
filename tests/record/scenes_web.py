"""curl and nginx: HTTP/1.1 and HTTP/2 over TLS, and curl through a CONNECT proxy."""

from __future__ import annotations

import sys
from pathlib import Path

from oracle import Flow
from scene import TSHARK, Recorded, Scene
from stage import Host, Process, Stage

NGINX = """
daemon off; master_process off; user root; pid {d}/nginx.pid; error_log {d}/nginx.log;
events {{ worker_connections 64; }}
http {{
  access_log off; default_type application/octet-stream; server_tokens off; keepalive_timeout 20;
  client_body_temp_path {d}/body; proxy_temp_path {d}/proxy; fastcgi_temp_path {d}/fcgi;
  uwsgi_temp_path {d}/uwsgi; scgi_temp_path {d}/scgi;
  server {{
    listen 443 ssl{http2}; server_name example.test; ssl_certificate {cert}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3; root {d}/www;
    location /upload {{ client_max_body_size 1m; proxy_pass http://127.0.0.1:8080; }}
  }}
  server {{ listen 127.0.0.1:8080; server_name upload; client_body_in_single_buffer on;
            location / {{ return 201 "stored\\n"; }} }}
}}
"""


def curl_nginx_tls13(stage: Stage) -> list[Recorded]:
    """curl asks nginx for three files and uploads one, HTTP/1.1 over TLS 1.3, and then on a second connection."""
    return [_http(stage, "curl-nginx-tls13", "", ["--http1.1", "--tlsv1.3"])]


def curl_nginx_tls12(stage: Stage) -> list[Recorded]:
    """curl asks nginx for three files and uploads one, HTTP/1.1 over TLS 1.2, and then on a second connection."""
    return [_http(stage, "curl-nginx-tls12", "", ["--http1.1", "--tls-max", "1.2"])]


def curl_nginx_http2(stage: Stage) -> list[Recorded]:
    """curl asks nginx for three files and uploads one over HTTP/2 and TLS 1.3, and then on a second connection."""
    return [_http(stage, "curl-nginx-http2", " http2", ["--http2"])]


def _http(stage: Stage, name: str, http2: str, options: list[str]) -> Recorded:
    host = stage.loopback()
    capture, keys = stage.directory / f"{name}.pcap", stage.directory / f"{name}.keys"
    site = _nginx(stage, host, http2)
    with host.sniff(capture, "tcp", "port", "443"):
        for tail in (["big.bin", "small.txt", "empty.txt"], ["small.txt"]):
            argv = ["curl", "-sS", *options, "--cacert", str(stage.certificate("rsa")[0])]
            argv += ["--resolve", "example.test:443:127.0.0.1"]
            for file in tail:
                argv += ["-o", str(stage.directory / f"got-{file}"), f"https://example.test/{file}"]
            if len(tail) > 1:
                argv += ["--next", "-sS", *options, "--cacert", str(stage.certificate("rsa")[0])]
                argv += ["--resolve", "example.test:443:127.0.0.1", "-o", "/dev/null"]
                argv += ["--data-binary", f"@{stage.directory}/www/upload.bin", "https://example.test/upload"]
            host.run(argv, {"SSLKEYLOGFILE": str(keys)})
    site.end()
    for file in ("big.bin", "small.txt", "empty.txt"):
        assert (stage.directory / f"got-{file}").read_bytes() == (stage.directory / "www" / file).read_bytes()
    how = f"nginx and curl {' '.join(options)} over loopback, keys by SSLKEYLOGFILE from curl"
    return Recorded(name, capture, keys, [Flow(), Flow()], how, oracle=f"{TSHARK}; bodies compared by curl's output")


def connect_proxy(stage: Stage) -> list[Recorded]:
    """curl reaches nginx through a CONNECT proxy; both legs are in the capture, the same TLS session on each."""
    host = stage.loopback()
    capture, keys = stage.directory / "connect-proxy.pcap", stage.directory / "connect-proxy.keys"
    site = _nginx(stage, host, "")
    proxy = host.start([sys.executable, str(Path(__file__).resolve().parent / "proxy.py"), "3128"])
    proxy.await_output(b"ready\n")
    with host.sniff(capture, "tcp", "port", "443", "or", "port", "3128"):
        argv = ["curl", "-sS", "--proxy", "http://127.0.0.1:3128", "--cacert", str(stage.certificate("rsa")[0])]
        argv += ["-o", "/dev/null", "https://example.test/big.bin", "-o", "/dev/null", "https://example.test/small.txt"]
        host.run(argv, {"SSLKEYLOGFILE": str(keys)})
        proxy.finish()
    site.end()
    return [
        Recorded(
            "connect-proxy",
            capture,
            keys,
            [Flow(notes={"preamble": "HTTP CONNECT"}), Flow()],
            "curl --proxy to a CONNECT proxy (proxy.py), which connects to nginx; both legs over loopback",
            oracle=TSHARK,
            server_ports={443, 3128},
        )
    ]


def _nginx(stage: Stage, host: Host, http2: str) -> Process:
    """Start nginx; the files it serves are repeatable text, for what is compared is the ciphertext's handling."""
    www = stage.directory / "www"
    www.mkdir()
    (www / "big.bin").write_bytes(bytes(range(256)) * 160)
    (www / "upload.bin").write_bytes(bytes(reversed(range(256))) * 100)
    (www / "small.txt").write_text("a small answer\n")
    (www / "empty.txt").write_text("")
    cert, key = stage.certificate("rsa")
    path = stage.directory / "nginx.conf"
    path.write_text(NGINX.format(d=stage.directory, cert=cert, key=key, http2=http2))
    process = host.start(["nginx", "-c", str(path), "-p", str(stage.directory)])
    pid = stage.directory / "nginx.pid"
    for _ in range(200):
        if pid.exists() and pid.read_text().strip():
            break
        host.run(["sleep", "0.02"])
    return process


SCENES: list[Scene] = [curl_nginx_tls13, curl_nginx_tls12, curl_nginx_http2, connect_proxy]
