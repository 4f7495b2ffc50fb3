"""The program that serves: imports the web stack, takes one author's program over the control descriptor, and serves it on
the inherited listening socket. boot.py calls main.main in a child of PID 1.

It runs on CPython 3.9 and later with FastAPI 0.95 and uvicorn 0.20 and later. Everything after main.main has taken the program
runs beside author code: the host takes nothing it says after that on trust.
"""
