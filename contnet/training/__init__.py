"""The LightningModule, its optimizer and its schedules."""
