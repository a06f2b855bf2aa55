"""``python -m tiktok_ray.batch MANIFEST --out DEST``."""

from tiktok_ray.batch.runner import app

app()
