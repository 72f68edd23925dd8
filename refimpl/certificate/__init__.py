"""HEAD"""

from refimpl.certificate.form import Certificate, CertificateError, Cuts
from refimpl.certificate.verify import verify_certificate

__all__ = ["Certificate", "CertificateError", "Cuts", "verify_certificate"]
