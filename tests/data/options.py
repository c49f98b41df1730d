"""Options of the data sets in the tests."""

OPTIONS = {
    "mean": [0.5] * 3,
    "std": [0.2] * 3,
    "crop_padding": 1,
    "horizontal_flip": True,
    "batch_size": 4,
    "test_batch_size": 4,
    "split_seed": 0,
}


FOLDER = {**OPTIONS, "image_size": 8, "memory_gb": 1, "val_size": 0, "num_workers": 0}
