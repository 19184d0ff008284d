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


WIDTH, ABOVE, A_PHASE = 1100, 868, 32
"""In points of the page: its width, all that is not a line of the timeline, and such a line."""


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
    options = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        parser.error(f"none of {', '.join(BROWSERS)} is on PATH; on Debian: apt-get install chromium")
    if not options.report.is_file():
        parser.error(f"{options.report} is no file")
    name = "report-dark.png" if options.dark else "report.png"
    output = (options.output or Path(__file__).parent / name).resolve()
    page = options.report.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder, "top.html")
        top.write_text(top_of(page), encoding="utf-8")
        take(browser, top, output, ABOVE + A_PHASE * page.count('class="phase"'), dark=options.dark)
    size = output.stat().st_size
    print(f"{output}: {size / 1000:.0f} kB")
    return 0 if size <= MOST_BYTES else 1


def top_of(page: str) -> str:
    """The page with nothing below the timeline."""
    return page.replace("</style>", "main > :nth-child(n + 3), footer { display: none } </style>", 1)


def take(browser: str, page: Path, output: Path, height: int, *, dark: bool) -> None:
    """The page as a picture."""
    argv = [
        browser,
        *QUIET,
        f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={WIDTH},{height}",
        "--force-device-scale-factor=1.5",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--screenshot={output}",
        page.as_uri(),
    ]
    subprocess.run(argv, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
