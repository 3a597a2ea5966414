"""Labelled pictures: streamed from the simulator, or written to and read from COCO, MOT and YOLO folders."""
