package pythonenv

import "strings"

// packageOfModule are modules whose package has another name. Where several packages provide one, this is the one that
// works in a sandbox without a screen and without a compiler.
var packageOfModule = pairs(`
argon2 argon2-cffi
attr attrs
bs4 beautifulsoup4
bson pymongo
cairosvg cairosvg
cassandra cassandra-driver
confluent_kafka confluent-kafka
consul python-consul
Crypto pycryptodome
Cryptodome pycryptodomex
cv2 opencv-python-headless
dateutil python-dateutil
decouple python-decouple
discord discord.py
dns dnspython
docx python-docx
dotenv python-dotenv
ebooklib ebooklib
email_validator email-validator
engineio python-engineio
faiss faiss-cpu
fastapi_cache fastapi-cache2
fastapi_limiter fastapi-limiter
fastapi_mail fastapi-mail
fastapi_pagination fastapi-pagination
fastapi_users fastapi-users
fitz pymupdf
flask_cors flask-cors
flask_sqlalchemy flask-sqlalchemy
fpdf fpdf2
git gitpython
github pygithub
gitlab python-gitlab
google.api_core google-api-core
google.auth google-auth
google.cloud.bigquery google-cloud-bigquery
google.cloud.firestore google-cloud-firestore
google.cloud.pubsub google-cloud-pubsub
google.cloud.pubsub_v1 google-cloud-pubsub
google.cloud.secretmanager google-cloud-secret-manager
google.cloud.speech google-cloud-speech
google.cloud.storage google-cloud-storage
google.cloud.translate google-cloud-translate
google.cloud.vision google-cloud-vision
google.generativeai google-generativeai
google.genai google-genai
google.oauth2 google-auth
google.protobuf protobuf
googleapiclient google-api-python-client
google_auth_oauthlib google-auth-oauthlib
grpc grpcio
grpc_tools grpcio-tools
gridfs pymongo
hcl2 python-hcl2
huggingface_hub huggingface-hub
ibm_db ibm-db
influxdb_client influxdb-client
jenkins python-jenkins
jose python-jose[cryptography]
jwt pyjwt
kafka kafka-python
langchain_community langchain-community
langchain_core langchain-core
langchain_openai langchain-openai
ldap python-ldap
Levenshtein levenshtein
llama_index llama-index
magic python-magic
memcache python-memcached
multipart python-multipart
mysql mysql-connector-python
MySQLdb mysqlclient
nacl pynacl
odf odfpy
OpenSSL pyopenssl
opentelemetry opentelemetry-sdk
osgeo gdal
paho paho-mqtt
passlib passlib[bcrypt]
PIL pillow
pkg_resources setuptools
playhouse peewee
pptx python-pptx
prometheus_client prometheus-client
prometheus_fastapi_instrumentator prometheus-fastapi-instrumentator
psycopg psycopg[binary]
psycopg2 psycopg2-binary
pydantic_settings pydantic-settings
pydantic_extra_types pydantic-extra-types
PyPDF2 pypdf2
pythonjsonlogger python-json-logger
qrcode qrcode[pil]
requests_oauthlib requests-oauthlib
rtree rtree
ruamel ruamel.yaml
sentence_transformers sentence-transformers
sentry_sdk sentry-sdk
serial pyserial
skimage scikit-image
sklearn scikit-learn
slack_sdk slack-sdk
slugify python-slugify
socketio python-socketio
socks pysocks
speech_recognition speechrecognition
sse_starlette sse-starlette
starlette_exporter starlette-exporter
stdnum python-stdnum
strawberry strawberry-graphql[fastapi]
telegram python-telegram-bot
telebot pytelegrambotapi
tensorflow tensorflow-cpu
tf_keras tf-keras
tlz toolz
tree_sitter tree-sitter
typing_extensions typing-extensions
ulid python-ulid
umap umap-learn
vertexai google-cloud-aiplatform
win32api pywin32
wx wxpython
yaml pyyaml
zmq pyzmq
`)

func pairs(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		module, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[module] = name
	}
	return all
}

// packageFor returns the package to ask for when a module is missing, "" when nobody knows. names are what is taken from
// the module: they may be modules that come in a package of their own.
func packageFor(module string, names ...string) string {
	const longest = 200 // the table has none; all names that a program could write would take minutes to look up
	if len(module) > longest {
		module = topOf(module)
	}
	for _, n := range names {
		if len(module)+len(n) > longest {
			continue
		}
		if p, ok := packageOfModule[module+"."+n]; ok {
			return p
		}
	}
	for m := module; m != ""; {
		if p, ok := packageOfModule[m]; ok {
			return p
		}
		at := strings.LastIndexByte(m, '.')
		if at < 0 {
			break
		}
		m = m[:at]
	}
	top, _, _ := strings.Cut(module, ".")
	if popular[normalise(top)] {
		return normalise(top)
	}
	return ""
}
