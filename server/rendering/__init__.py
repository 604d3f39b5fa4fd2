"""Personalisation: Liquid templates as LiquidJS understands them, with a bound on what a hostile one can cost."""

from __future__ import annotations

from server.rendering.renderer import ContentTemplate, Renderer

__all__ = ["ContentTemplate", "Renderer"]
