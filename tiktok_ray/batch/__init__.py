"""Many videos: ``python -m tiktok_ray.batch MANIFEST --out DEST``, also as ``tiktok-ray batch``."""
