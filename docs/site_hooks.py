"""Hooks of MkDocs: benchmarks/README.md, which lies outside docs/, is a page of the site."""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add benchmarks/README.md as the page benchmarks.md."""
    page = File.generated(
        config, "benchmarks.md", abs_src_path=str(ROOT / "benchmarks" / "README.md")
    )
    files.append(page)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links between benchmarks/README.md and the pages of docs/ to those of the site."""
    markdown = markdown.replace("](../benchmarks/README.md", "](benchmarks.md")
    return markdown.replace("](../docs/", "](")
