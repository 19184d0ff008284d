"""Take the README's picture of a demo's report.

    ./ai-how demo                                    # says where its report is
    python docs/images/make.py REPORT.html           # writes docs/images/report.png
    python docs/images/make.py REPORT.html --dark    # writes docs/images/report-dark.png

It needs Chromium or Chrome on PATH; the page itself loads nothing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
MOST_BYTES = 250_000


def main() -> int:
    """Take the picture; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="the HTML file that `ai-how demo` wrote")
    parser.add_argument("--dark", action="store_true", help="as a dark desktop shows it")
    parser.add_argument(
        "--output", type=Path, help="default: report.png or report-dark.png beside this script"
    )
    parser.add_argument(
        "--size", default="1100,1330", help="width and height in points of the page (default %(default)s)"
    )
    options = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        parser.error(f"none of {', '.join(BROWSERS)} is on PATH; on Debian: apt-get install chromium")
    if not options.report.is_file():
        parser.error(f"{options.report} is no file")
    name = "report-dark.png" if options.dark else "report.png"
    output = (options.output or Path(__file__).parent / name).resolve()
    with tempfile.TemporaryDirectory() as profile:
        argv = [browser, *QUIET, f"--user-data-dir={profile}", f"--window-size={options.size}"]
        argv += [
            "--force-device-scale-factor=1.5",
            f"--blink-settings=preferredColorScheme={0 if options.dark else 1}",
        ]
        argv += [f"--screenshot={output}", options.report.resolve().as_uri()]
        subprocess.run(argv, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    size = output.stat().st_size
    print(f"{output}: {size / 1000:.0f} kB")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
