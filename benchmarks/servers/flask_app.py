"""Flask, a plain WSGI application for gunicorn's thread or process workers."""

import work
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
app.add_url_rule("/<object_type>/get/<object_id>/", "get", work.get_object)
app.add_url_rule("/cpu/", "cpu", work.cpu)
app.add_url_rule("/large/", "large", work.large)
app.add_url_rule("/sleep/<milliseconds>/", "sleep", work.sleep)
app.add_url_rule("/where/", "where", work.where)


@app.post("/echo/")
def echo() -> Response:
    return jsonify(work.echo(**request.get_json()))
