import twisted_appserver as appserver

def get_object(object_type, object_id):
    return {"object_type": object_type, "object_id": object_id}

url_patterns = (
    (r'/(?P<object_type>)/get/(?P<object_id>)/', get_object),
)

if __name__ == "__main__":
    appserver.run_server(port=8081, server_type=appserver.THREADED_SERVER)
